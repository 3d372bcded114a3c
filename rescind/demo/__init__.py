"""The demo: a real fabric of some thirty processes, in which a kill reaches every guard.

command    options, interrupts, exit code        acts      what happens, five functions
stage      builds the world and takes it down     report    what was seen → claims → JSON
children   processes bound to this one            screen    what a person sees
wire       messages of those processes            sidecar, server, agent: those processes
"""
