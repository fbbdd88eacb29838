"""Runs on an emulated Pico: takes cases as bytes, plays them on kernels of several tiers, answers in bytes.

A job: its length (uint32), then JOB, then, for a learner, the words of head and of mem (what follows those sent is 0,
and at mem's end the table, where the job says so) and the trials; for a task, its block and every step's outputs.
An answer, for every tier asked: learners say for every trial "K", the actuator words, head, mem ("T": mem without its
table, which is as it was); tasks say "K", then the sensor words and the cost of every step, then the block. "E", a
uint16 and a text: something was raised, and the job's answer ends there.
"""

import gc
import io
import sys
from array import array
from struct import pack, unpack_from

import uctypes

from subsong_device.layout import COST, EVALUATE, TABLE_WORDS

# Tiers (bits), rule, table, 0, sensors, actuators, words of head, bytes sent, of mem, bytes sent, trials or steps.
JOB = "<BBBBHHIIIIH"
JOB_BYTES = 26
RULES = ()  # and here
FOLDERS = ("subsong_device.learners.", "subsong_device.viper.", "subsong_device.machine.", "broken.")
TABLE = b""  # the host writes it here
loaded = {}
KEPT = 10  # modules that are loaded at a time: all of two rules and of the tasks
read = sys.stdin.buffer.read
write = sys.stdout.buffer.write


def kernels(tier, rule):
    name = FOLDERS[tier] + RULES[rule]
    if name == "subsong_device.learners.tasks":
        name = "subsong_device.tasks"
    if name not in loaded:
        if len(loaded) == KEPT:
            for each in list(loaded):
                package, _, last = each.rpartition(".")
                delattr(sys.modules[package], last)
                del loaded[each], sys.modules[each]
            gc.collect()
        __import__(name)
        loaded[name] = sys.modules[name]
    return loaded[name]


def filled(code, words, size, data):
    """Return a buffer of so many words that begins with data, and its bytes."""
    buffer = array(code, bytes(words * size))
    view = uctypes.bytearray_at(uctypes.addressof(buffer), words * size)
    view[: len(data)] = data
    return buffer, view


def play_trials(module, job, at, table, sensors, actuators, n_head, head_sent, n_mem, mem_sent, trials):
    head, head_bytes = filled("i", n_head, 4, job[at : at + head_sent])
    at += head_sent
    mem, mem_bytes = filled("H", n_mem, 2, job[at : at + mem_sent])
    at += mem_sent
    if table:
        mem_bytes[-2 * TABLE_WORDS :] = TABLE
    u, u_bytes = filled("H", actuators, 2, b"")
    for _ in range(trials):
        evaluate, steps, last_cost = unpack_from("<BHi", job, at)
        at += 7
        head[EVALUATE] = evaluate
        module.begin(head, mem)
        outputs = bytearray()
        for _ in range(steps):
            head[COST] = unpack_from("<i", job, at)[0]
            at += 4
            module.act(head, mem, array("H", job[at : at + 2 * sensors]), u)
            at += 2 * sensors
            outputs.extend(u_bytes)
        head[COST] = last_cost
        module.end(head, mem)
        kept = table and mem_bytes[-2 * TABLE_WORDS :] == TABLE
        write(b"T" if kept else b"K")
        write(outputs)
        write(head_bytes)
        write(mem_bytes[: -2 * TABLE_WORDS] if kept else mem_bytes)


def play_task(module, job, at, sensors, actuators, words, steps):
    task, task_bytes = filled("H", words, 2, job[at : at + 2 * words])
    at += 2 * words
    x, x_bytes = filled("H", sensors, 2, b"")
    answer = bytearray(b"K")
    module.task_begin(array("i", [0] * 40), task)
    for _ in range(steps):
        module.task_sense(task, x)
        answer.extend(x_bytes)
        answer.extend(pack("<i", module.task_cost(task, array("H", job[at : at + 2 * actuators]))))
        at += 2 * actuators
    answer.extend(task_bytes)
    write(answer)


def answer(job):
    tiers, rule, table, _, sensors, actuators, n_head, head_sent, n_mem, mem_sent, count = unpack_from(JOB, job)
    for tier in range(len(FOLDERS)):
        if tiers >> tier & 1:
            module = kernels(tier, rule)
            if RULES[rule] == "tasks":
                play_task(module, job, JOB_BYTES, sensors, actuators, n_mem, count)
            else:
                play_trials(
                    module, job, JOB_BYTES, table, sensors, actuators, n_head, head_sent, n_mem, mem_sent, count
                )


def serve():
    """Play jobs until the power is cut; Ctrl-C is off already, 3 is a byte like any other here."""
    write(b"R")
    while True:
        size = unpack_from("<I", read(4))[0]
        job = read(size)
        try:
            answer(job)
        except Exception as e:  # noqa: BLE001  the host raises it, traceback and all
            trace = io.StringIO()
            sys.print_exception(e, trace)
            text = trace.getvalue().encode()
            write(b"E" + pack("<H", len(text)) + text)
