"""Imported first by the process that workers are forked from: Ctrl-C ends it, and its forks until they begin, without a word.

Python's own answer to Ctrl-C is a traceback, here one of the libraries that are being imported. Under nohup nothing is changed.
"""

import signal

if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
