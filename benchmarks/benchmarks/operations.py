"""The operations of the network's forward pass (paper Figs. 7 and 8)."""

from qmcbench.bench import suite


class Operation:
    """All calls of one operation in a forward pass of the batch; "fused" is the whole network in one."""

    params = (suite.OPERATIONS, suite.sizes().systems, suite.sizes().batches)
    param_names = ("operation", "system", "batch")
    version = "1"
    timeout = suite.TIMEOUT
    number = 1
    repeat = (3, 7, 5.0)

    def setup(self, operation: str, system: str, batch: int) -> None:
        self.work = suite.operation(operation, system, batch)

    def time_operation(self, operation: str, system: str, batch: int) -> None:
        self.work()
