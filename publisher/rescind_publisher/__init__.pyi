from rescind_publisher.asks import Ask as Ask
from rescind_publisher.async_switch import AsyncKillSwitch as AsyncKillSwitch
from rescind_publisher.config import PublisherConfig as PublisherConfig
from rescind_publisher.control_client import ControlClient as ControlClient
from rescind_publisher.engine import Publisher as Publisher
from rescind_publisher.receipts import Receipt as Receipt
from rescind_publisher.switch import KillSwitch as KillSwitch
