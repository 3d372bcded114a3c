"""`python -m rescind.demo`."""

from rescind.demo.command import demo

if __name__ == "__main__":
    demo()
