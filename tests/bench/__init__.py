"""What the program costs: `python -m tests.bench [NAME…] [--quick] [--json] [--compare REV]`, or `just bench`.

No figure stands alone: each is laid beside something that was measured in the same minutes on the same machine, because
a limit in milliseconds says as much about the machine as about the program. Where other work shares the cores, believe
the processor time and the ratios, and run it again.
"""
