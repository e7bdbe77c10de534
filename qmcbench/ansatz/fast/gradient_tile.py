"""Per-sample log-derivatives, compiled: forward and backward through the fused network in Fourier space.

A sample stands in each lane, and its images come one after another, a group of them at once::

    spins --(forward)--> inputs of each layer, masks of its maxima, outputs v
    share / v --(back)--> slopes of the last layer --(products, maxima)--> slopes of the layer before --> ...
    inputs, slopes of a layer --(outer, summed over images)--> pairs, a block of inputs at once --> taps

Slopes are gradients at a layer's sums (of even and odd columns, before the maximum), in Fourier space. At each
frequency, the numbers of all images of a group stand one behind the other. When all images are done, the gradients of
the fused kernels' taps are pulled back to the parameters.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from qmcbench.ansatz.fast import codelets, gradient_codelets
from qmcbench.ansatz.fast.fourier import Tile
from qmcbench.ansatz.fast.gradient_codelets import MASK_BYTES
from qmcbench.ansatz.fast.gradient_plan import INPUTS, GradientPlan, part_of
from qmcbench.ansatz.fast.gradient_pull import Pull
from qmcbench.ansatz.fast.vector_code import Compiled, Routines, VectorCode


@cache
def compiled(plan: GradientPlan) -> Compiled:
    """``derivatives(spins, shares, count, images, out, first, last, constants, memory)``.

    It writes the log-derivatives of tiles ``first`` to ``last`` of ``count`` samples of ``images`` configurations.
    """
    routines = Routines(plan.network.vectors)
    writer, pull = _Writer(plan, routines), Pull(plan, routines)

    def derivatives(code: VectorCode, *arguments: Any) -> None:
        spins, shares, count, images, out, first, last, constants, memory = arguments
        lanes = plan.network.vectors.lanes
        at = {name: code.behind(memory, start) for name, start in plan.memory().items()}
        at |= {name: code.behind(constants, start) for name, start in plan.constants().items()}
        at |= {name: code.behind(at["gradients"], start) for name, start in plan.gradients().items()}

        def tile(carried: list[Any]) -> list[Any]:
            (start,) = carried
            writer.clear(code, at)

            def group(carried: list[Any]) -> list[Any]:
                (done,) = carried
                here = code.least(code.builder.sub(images, done), code.integer(plan.group))
                # Lanes without a sample have the last one.
                numbers = [code.least(code.behind(start, lane), code.behind(count, -1)) for lane in range(lanes)]
                own = [code.builder.add(code.builder.mul(number, images), done) for number in numbers]
                writer.group(code, at, spins, shares, own, here)
                return [code.builder.add(done, here)]

            code.loop(code.quotient(code.behind(images, plan.group - 1), plan.group), [code.integer(0)], group)
            for layer in range(plan.depth):
                pull.back(code, at, layer)
            writer.results(code, at, out, start, count)
            return [code.behind(start, lanes)]

        code.loop(code.builder.sub(last, first), [code.times(first, lanes)], tile)

    routines.add("derivatives", 9, derivatives)
    return routines.compiled()


class _Writer:
    """Writes what happens to one tile; ``at`` says where everything stands."""

    def __init__(self, plan: GradientPlan, routines: Routines) -> None:
        self.plan, self.tile, self.routines = plan, Tile(plan.network, routines), routines

    def _torus(self, write: Callable[..., Any], *numbers: int, **options: bool) -> Any:
        """A routine that depends on the lattice too."""
        return self.routines.once(write, self.plan.network.L, self.plan.network.P, *numbers, **options)

    def clear(self, code: VectorCode, at: dict[str, Any]) -> None:
        """Zeros, to which everything is added."""
        plan, size = self.plan, self.plan.network.vectors.size

        def vector(carried: list[Any]) -> list[Any]:
            code.store(code.constant(0.0), carried[0])
            return [code.offset(carried[0], 1)]

        for n in range(plan.depth):
            code.loop(plan.inputs(n) * plan.taps_step(n) // size, [at[f"taps {n}"]], vector)
        code.loop(plan.gradients()["end"] // size, [at["gradients"]], vector)

    def group(
        self, code: VectorCode, at: dict[str, Any], spins: Any, shares: Any, own: list[Any], images: Any
    ) -> None:
        """Add the gradients of the next images of each sample, whose numbers are ``own`` and following."""
        plan = self.plan
        sites, itemsize, last = plan.network.L**2, plan.network.vectors.itemsize, plan.depth - 1

        def forward(carried: list[Any]) -> list[Any]:
            image, masks, *own = carried
            self._forward(code, at, [code.builder.add(spins, code.times(each, sites)) for each in own], image, masks)
            share = code.gather([code.builder.add(shares, code.times(each, itemsize)) for each in own])
            self._head(code, at, share, image, masks)
            return [code.behind(image, 1), code.behind(masks, plan.masks_step()), *(code.behind(n, 1) for n in own)]

        code.loop(images, [code.integer(0), at["masks"], *own], forward)
        for n in range(last, -1, -1):
            self._weights(code, at, n, images)
            if n:

                def back(carried: list[Any], n: int = n) -> list[Any]:
                    image, masks = carried
                    self._back(code, at, n, image, masks)
                    return [code.behind(image, 1), code.behind(masks, plan.masks_step())]

                code.loop(images, [code.integer(0), at["masks"]], back)

    def _of_image(self, code: VectorCode, start: Any, image: Any, channels: int) -> Any:
        """Where an image's numbers of so many channels begin."""
        return code.builder.add(start, code.times(image, 2 * channels * self.plan.network.vectors.size))

    def _slopes(self, code: VectorCode, at: dict[str, Any], layer: int, image: Any) -> Any:
        return self._of_image(code, at[f"slopes {layer % 2}"], image, self.plan.sums(layer))

    def _masks(self, code: VectorCode, masks: Any, layer: int) -> Any:
        network = self.plan.network
        return code.behind(masks, sum(network.channels[:layer]) * network.L * network.P * MASK_BYTES)

    def _forward(self, code: VectorCode, at: dict[str, Any], own: list[Any], image: Any, masks: Any) -> None:
        """From the spins of an image to the maxima of the last layer."""
        plan, network, block = self.plan, self.plan.network, self.plan.network.block
        size, itemsize = network.vectors.size, network.vectors.itemsize
        places = network.L * network.P
        first = self._of_image(code, at["inputs 0"], image, 2)
        self.tile.spins(code, at["even"], own, first, code.integer(plan.steps(2)))
        for n in range(plan.depth):
            inputs, last = plan.inputs(n), n == plan.depth - 1
            pooled = self._torus(gradient_codelets.rows_kept, forth=not last)
            following = None if last else self._of_image(code, at[f"inputs {n + 1}"], image, network.channels[n])
            x = self._of_image(code, at[f"inputs {n}"], image, inputs)

            def channel(carried: list[Any], n: int = n, last: bool = last, pooled: Any = pooled) -> list[Any]:
                sums, bias, masks, target = carried
                even = target if last else at["even"]
                for column, rows in enumerate((even, at["odd"])):
                    own = code.offset(sums, 2 * column * block)
                    code.store(code.add(code.load(own), code.broadcast(bias)), own)
                    code.call(self.tile.back, rows, own, 4 * block * size)
                code.call(pooled, even, at["odd"], masks)
                if not last:
                    code.call(self.tile.forth, even, target, plan.steps(self.plan.network.channels[n]))
                return [
                    code.offset(sums, 2),
                    code.behind(bias, itemsize),
                    code.behind(masks, places * MASK_BYTES),
                    code.offset(target, places if last else 2),
                ]

            def channels(
                carried: list[Any], n: int = n, inputs: int = inputs, x: Any = x, channel: Any = channel
            ) -> list[Any]:
                own, *rest = carried
                code.call(self.tile.products, x, plan.steps(inputs), own, inputs, at["sums"])
                _, *rest = code.loop(block, [at["sums"], *rest], channel)
                return [code.behind(own, block * places * inputs * 3 * itemsize), *rest]

            target = at["maxima"] if last else following
            state = [at[f"weights {n}"], at[f"biases {n}"], self._masks(code, masks, n), target]
            code.loop(network.channels[n] // block, state, channels)

    def _head(self, code: VectorCode, at: dict[str, Any], share: Any, image: Any, masks: Any) -> None:
        """From the maxima of the last layer to its slopes; gradients of the last map and its constant."""
        network, last = self.plan.network, self.plan.depth - 1
        channels, places, itemsize = network.channels[-1], network.L * network.P, network.vectors.itemsize

        def place(carried: list[Any]) -> list[Any]:
            start, total, *sums = carried

            def channel(carried: list[Any]) -> list[Any]:
                maximum, head, *outputs = carried
                value = code.load(maximum)
                new = [
                    code.multiply_add(code.broadcast(head, column * channels), value, output)
                    for column, output in enumerate(outputs)
                ]
                return [code.offset(maximum, places), code.behind(head, itemsize), *new]

            constant = code.broadcast(at["head bias"])
            _, _, *outputs = code.loop(channels, [start, at["head"], constant, constant], channel)
            for column, output in enumerate(outputs):
                slope = code.divide(share, output)
                code.store(slope, code.offset(total, column))
                sums = [code.add(sums[0], slope)]
            return [code.offset(start, 1), code.offset(total, 2), *sums]

        *_, summed = code.loop(places, [at["maxima"], at["totals"], code.constant(0.0)], place)
        self._add(code, summed, at[f"deconv bias {last}"])
        parted = self._torus(gradient_codelets.rows_parted, back=False)

        def channel(carried: list[Any]) -> list[Any]:
            maxima, head, gradient, masks, slopes = carried

            def place(carried: list[Any]) -> list[Any]:
                maximum, total, even, *sums = carried
                value, both = code.load(maximum), [code.load(code.offset(total, column)) for column in range(2)]
                new = [code.multiply_add(value, slope, before) for slope, before in zip(both, sums, strict=True)]
                factors = [code.broadcast(head, column * channels) for column in range(2)]
                code.store(code.multiply_add(factors[1], both[1], code.multiply(factors[0], both[0])), even)
                return [code.offset(maximum, 1), code.offset(total, 2), code.offset(even, 1), *new]

            zeros = [code.constant(0.0)] * 2
            maxima, _, _, *sums = code.loop(places, [maxima, at["totals"], at["even"], *zeros], place)
            for column, found in enumerate(sums):
                self._add(code, found, code.offset(gradient, column))
            self._parted(code, at, parted, masks, slopes, last)
            return [
                maxima,
                code.behind(head, itemsize),
                code.offset(gradient, 2),
                code.behind(masks, places * MASK_BYTES),
                code.offset(slopes, 4),
            ]

        own = [self._masks(code, masks, last), self._slopes(code, at, last, image)]
        code.loop(channels, [at["maxima"], at["head"], at[f"deconv {last}"], *own], channel)

    def _parted(self, code: VectorCode, at: dict[str, Any], parted: Any, masks: Any, slopes: Any, layer: int) -> None:
        """Gradients of a channel's maxima, at ``even``, become the slopes of its even and odd sums."""
        code.call(parted, at["even"], at["odd"], masks)
        for column, rows in enumerate((at["even"], at["odd"])):
            code.call(self.tile.forth, rows, code.offset(slopes, 2 * column), self.plan.steps(self.plan.sums(layer)))

    def _back(self, code: VectorCode, at: dict[str, Any], layer: int, image: Any, masks: Any) -> None:
        """From a layer's slopes to those of the layer before it."""
        plan, network = self.plan, self.plan.network
        places, sums, inputs, part = network.L * network.P, plan.sums(layer), plan.inputs(layer), plan.part(layer)
        products = self._torus(codelets.products, part)
        parted = self._torus(gradient_codelets.rows_parted, back=True)
        own = self._slopes(code, at, layer, image)

        def channel(carried: list[Any]) -> list[Any]:
            found, masks, slopes = carried
            code.call(self.tile.back, at["even"], found, 2 * part * network.vectors.size)
            self._parted(code, at, parted, masks, slopes, layer - 1)
            return [code.offset(found, 2), code.behind(masks, places * MASK_BYTES), code.offset(slopes, 4)]

        def channels(carried: list[Any]) -> list[Any]:
            weights, *rest = carried
            code.call(products, own, plan.steps(sums), weights, sums, at["sums"])
            _, *rest = code.loop(part, [at["sums"], *rest], channel)
            return [code.behind(weights, part * plan.frequencies * sums * 3 * network.vectors.itemsize), *rest]

        before = [self._masks(code, masks, layer - 1), self._slopes(code, at, layer - 1, image)]
        code.loop(inputs // part, [at[f"back {layer}"], *before], channels)

    def _weights(self, code: VectorCode, at: dict[str, Any], layer: int, images: Any) -> None:
        """Add gradients, from the inputs and slopes of a group of images, to those of a layer's taps and biases."""
        plan, vectors = self.plan, self.plan.network.vectors
        inputs, sums = plan.inputs(layer), plan.sums(layer)
        x, slopes = at[f"inputs {layer}"], at[f"slopes {layer % 2}"]
        self._biases(code, at, layer, images)
        many, outputs = part_of(inputs, INPUTS), part_of(sums, (vectors.registers - 6) // 3)
        outer = self._torus(gradient_codelets.outer, outputs)

        def some(carried: list[Any]) -> list[Any]:
            x, taps = carried
            code.call(
                outer,
                *(x, plan.steps(inputs), 2 * inputs * vectors.size, many),
                *(slopes, plan.steps(sums), 2 * sums * vectors.size, sums // outputs),
                *(images, at["pairs"], plan.pairs_step(layer)),
            )
            _, taps = code.loop(many, [at["pairs"], taps], self._taps(code, at, layer))
            return [code.offset(x, 2 * many), taps]

        code.loop(inputs // many, [x, at[f"taps {layer}"]], some)

    def _taps(self, code: VectorCode, at: dict[str, Any], layer: int) -> Callable[[list[Any]], list[Any]]:
        """Pairs of one input and all sums, in Fourier space, are added to the taps."""
        plan, vectors = self.plan, self.plan.network.vectors
        taps, frequencies, step = plan.taps(layer), plan.frequencies, plan.pairs_step(layer)
        most = part_of(taps, plan.most)
        matrix = self.routines.once(gradient_codelets.matrix, most, 2)

        def one_input(carried: list[Any]) -> list[Any]:
            pairs, own = carried

            def channel(carried: list[Any]) -> list[Any]:
                pairs, own = carried
                for part in range(2 * (taps // most)):
                    column, number = divmod(part, taps // most)
                    constants = code.behind(at[f"taps of {layer}"], part * frequencies * 2 * most * vectors.itemsize)
                    target = code.offset(own, column * taps + number * most)
                    code.call(
                        matrix, code.offset(pairs, 2 * column), step, frequencies, constants, target, vectors.size
                    )
                return [code.offset(pairs, 4), code.offset(own, 2 * taps)]

            pairs, _ = code.loop(plan.network.channels[layer], [pairs, own], channel)
            return [pairs, code.behind(own, plan.taps_step(layer))]

        return one_input

    def _biases(self, code: VectorCode, at: dict[str, Any], layer: int, images: Any) -> None:
        """A constant on the lattice is all in the first number: so is the gradient."""

        def image(carried: list[Any]) -> list[Any]:
            def channel(carried: list[Any]) -> list[Any]:
                slopes, gradient = carried
                self._add(code, code.add(code.load(slopes), code.load(code.offset(slopes, 2))), gradient)
                return [code.offset(slopes, 4), code.offset(gradient, 1)]

            start = [carried[0], at[f"conv bias {layer}"]]
            return code.loop(self.plan.network.channels[layer], start, channel)[:1]

        code.loop(images, [at[f"slopes {layer % 2}"]], image)

    def _add(self, code: VectorCode, vector: Any, target: Any) -> None:
        code.store(code.add(code.load(target), vector), target)

    def results(self, code: VectorCode, at: dict[str, Any], out: Any, start: Any, count: Any) -> None:
        """The gradients, to where each sample's stand."""
        vectors = self.plan.network.vectors
        parameters = self.plan.gradients()["end"] // vectors.size

        def sample(carried: list[Any]) -> list[Any]:
            gradient, target = carried

            def parameter(carried: list[Any]) -> list[Any]:
                code.copy_number(*carried)
                return [code.offset(carried[0], 1), code.behind(carried[1], vectors.itemsize)]

            _, target = code.loop(parameters, [gradient, target], parameter)
            return [code.behind(gradient, vectors.itemsize), target]

        lanes = code.least(code.builder.sub(count, start), code.integer(vectors.lanes))
        first = code.builder.add(out, code.times(start, parameters * vectors.itemsize))
        code.loop(lanes, [at["gradients"], first], sample)
