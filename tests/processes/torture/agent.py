"""An agent that behaves badly: `agent.py <tag> <subject> <n>`. Everything it starts keeps these words on its command line.

Every process of it keeps one witness at least: its marker, or the lock that it inherited.
"""

import os
import random
import signal
import sys
import time


def fork(then, new_session):
    if os.fork() == 0:
        if new_session:
            os.setsid()
        then()
        os._exit(0)


def linger():
    time.sleep(random.uniform(0.1, 1.2))


def linger_without_environment():
    os.execve(sys.executable, [sys.executable, "-I", "-S", *sys.argv, "linger"], {})


def linger_without_descriptors():
    os.closerange(3, 400)
    linger()


def linger_far_away():
    os.chdir("/")
    fork(linger, True)


def linger_deaf():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    linger()


if sys.argv[4:] == ["linger"]:
    linger()
    sys.exit()
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
ways = [linger, linger_without_environment, linger_without_descriptors, linger_far_away, linger_deaf]
for way in random.sample(ways, 2):
    fork(way, random.random() < 0.5)
random.choice([linger, linger_without_descriptors, linger_deaf])()
sys.exit(random.choice([0, 0, 1]))
