"""Runs under MicroPython: takes a case as a line of JSON, plays it on the firmware's own kernels, answers in a line."""

import io
import json
import sys
from array import array
from binascii import hexlify, unhexlify

from subsong_device import tasks
from subsong_device.layout import COST, EVALUATE, LAYERS_AT


def text(buffer):
    return hexlify(buffer).decode()


def signed(words):
    return [w - 0x10000 if w >= 0x8000 else w for w in words]


def play_trials(job):
    rule = __import__("subsong_device.learners." + job["rule"], None, None, ("begin",))
    head = array("i", unhexlify(job["head"]))
    mem = array("H", unhexlify(job["mem"]))
    x = array("H", [0] * job["n_sensors"])
    u = array("H", [0] * job["n_actuators"])
    answers = []
    for evaluate, steps, last_cost in job["trials"]:
        head[EVALUATE] = evaluate
        rule.begin(head, mem)
        outputs = []
        for cost, words in steps:
            head[COST] = cost
            for j in range(len(words)):
                x[j] = words[j] & 0xFFFF
            rule.act(head, mem, x, u)
            outputs.append(signed(u))
        head[COST] = last_cost
        rule.end(head, mem)
        answers.append([outputs, text(head), text(mem)])
    return answers


def play_task(job):
    task = array("H", unhexlify(job["task"]))
    x = array("H", [0] * job["n_sensors"])
    answers = []
    tasks.task_begin(array("i", [0] * LAYERS_AT), task)
    for words in job["outputs"]:
        tasks.task_sense(task, x)
        answers.append([signed(x), tasks.task_cost(task, array("H", [w & 0xFFFF for w in words]))])
    return [answers, text(task)]


def answer(job):
    try:
        return play_task(job) if "task" in job else play_trials(job)
    except Exception as e:  # noqa: BLE001  the other side raises it, traceback and all, and the next case still finds us here
        trace = io.StringIO()
        sys.print_exception(e, trace)
        return {"error": trace.getvalue()}


while True:
    line = sys.stdin.readline()
    if not line:
        break
    print(json.dumps(answer(json.loads(line))))
