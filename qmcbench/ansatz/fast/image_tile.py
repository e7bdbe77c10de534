"""psi of all images of a configuration at once, compiled; where they share their first convolution it is done once.

Spin flip and the shift by one column, which the pooling tells apart, change that convolution's sign and place: four
images differ only in which of its outputs are pairs, and in maximum or minimum. From there on each goes its own way::

    spins --image--> even --> inputs --products--> sums --> even, odd --rows_of_images--> maxima --> shared 1 ... 4
    shared n --layers--> totals --product--> mantissa and exponent of psi
"""

from __future__ import annotations

from functools import cache
from itertools import accumulate
from typing import Any, NamedTuple

from qmcbench.ansatz.fast import codelets
from qmcbench.ansatz.fast.codelets import Variant
from qmcbench.ansatz.fast.fourier import Memory, Plan, Tile, step
from qmcbench.ansatz.fast.vector_code import Compiled, Routines, VectorCode

ALONE = (Variant(shifted=False, flipped=False),)


class ImagePlan(NamedTuple):
    """A network on a lattice, and in what the images differ that share a convolution."""

    network: Plan
    variants: tuple[Variant, ...]

    @property
    def shared(self) -> int:
        """Bytes of the inputs of the second layer of one variant."""
        return self.network.memory.outputs

    def memory(self) -> dict[str, int]:
        """Where parts of a tile's memory begin, in bytes, behind those of the network; ``end`` is behind the last."""
        size, L = self.network.vectors.size, self.network.L
        sizes = {
            "spins": L * L * size,
            "maxima": len(self.variants) * L * self.network.P * size,
            "shared": len(self.variants) * self.shared,
            "end": 0,
        }
        starts = accumulate(sizes.values(), initial=self.network.memory.end)
        return dict(zip(sizes, starts, strict=False))


@cache
def compiled(plan: ImagePlan) -> Compiled:
    """``images(spins, count, groups, sites, signs, places, mantissas, exponents, first, last, parameters, memory)``.

    It writes psi of ``groups`` times as many images as there are variants, for tiles ``first`` to ``last`` of
    ``count`` configurations. ``sites``: of each group, where in a tile's spins each place has its spin from, in
    bytes, even columns first; ``signs``: of its spins; ``places``: where each image's results begin, in bytes. The
    parameters are as in :func:`~qmcbench.ansatz.fast.fourier.compiled`.
    """
    routines = Routines(plan.network.vectors)
    writer = _Writer(plan, routines)

    def images(code: VectorCode, *arguments: Any) -> None:
        spins, count, groups, sites, signs, places, mantissas, exponents, first, last, *parameters, memory = arguments
        network, lanes = plan.network, plan.network.vectors.lanes
        parts = Memory(*(code.behind(memory, start) for start in network.memory))
        own = {name: code.behind(memory, start) for name, start in plan.memory().items()}

        def tile(carried: list[Any]) -> list[Any]:
            (start,) = carried
            # Lanes without a configuration have the last one.
            numbers = [code.least(code.behind(start, lane), code.behind(count, -1)) for lane in range(lanes)]
            writer.spins(code, own["spins"], [code.builder.add(spins, code.times(n, network.L**2)) for n in numbers])
            results = [code.builder.add(each, code.times(start, 8)) for each in (mantissas, exponents)]

            def group(carried: list[Any]) -> list[Any]:
                sites, signs, places = carried
                writer.image(code, parts, own["spins"], sites, code.broadcast(signs))
                writer.network(code, parts, own, parameters, [*results, places])
                return [
                    code.behind(sites, 8 * network.L**2),
                    code.behind(signs, network.vectors.itemsize),
                    code.behind(places, 8 * len(plan.variants)),
                ]

            code.loop(groups, [sites, signs, places], group)
            return [code.behind(start, lanes)]

        code.loop(code.builder.sub(last, first), [code.times(first, lanes)], tile)

    routines.add("images", 15, images)
    return routines.compiled()


class _Writer:
    """Writes what happens to one tile."""

    def __init__(self, plan: ImagePlan, routines: Routines) -> None:
        self.plan, self.tile = plan, Tile(plan.network, routines)
        self.product = routines.once(codelets.product, plan.network.L**2)
        self.rows = codelets.rows_of_images(routines, plan.network.L, plan.network.P, plan.variants)

    def spins(self, code: VectorCode, target: Any, own: list[Any]) -> None:
        """The spins of the configurations at the addresses ``own``, site by site, to ``target``."""

        def site(carried: list[Any]) -> list[Any]:
            passed, to = carried
            code.store(code.gather_bytes([code.builder.add(each, passed) for each in own]), to)
            return [code.behind(passed, 1), code.offset(to, 1)]

        code.loop(self.plan.network.L**2, [code.integer(0), target], site)

    def image(self, code: VectorCode, at: Memory, spins: Any, sites: Any, sign: Any) -> None:
        """The transformed spins of an image, to the inputs of the first layer."""
        places = self.plan.network.L * self.plan.network.P
        for column in range(2):

            def place(carried: list[Any]) -> list[Any]:
                own, to = carried
                spin = code.load(code.builder.add(spins, code.load_integer(own)))
                code.store(code.multiply(sign, spin), to)
                return [code.behind(own, 8), code.offset(to, 1)]

            code.loop(places, [code.behind(sites, 8 * places * column), at.even], place)
            code.call(self.tile.rows_in, at.even)
            code.call(self.tile.forth, at.even, code.offset(at.inputs, 2 * column), step(self.plan.network, 2))

    def network(
        self, code: VectorCode, at: Memory, own: dict[str, Any], parameters: list[Any], to: list[Any]
    ) -> None:
        """From the inputs of the first layer to the results of all images of a group; ``to`` says where."""
        *results, places = to
        if self.plan.variants == ALONE:
            self.tile.layers(code, at, 0, *parameters)
            self._results(code, at, results, places)
            return
        weights, biases, *head = parameters
        self._first(code, at, own, weights, biases)
        weights = code.behind(weights, self.plan.network.weights_of(0))
        biases = code.behind(biases, self.plan.network.channels[0] * self.plan.network.vectors.itemsize)

        def variant(carried: list[Any]) -> list[Any]:
            start, places = carried
            self.tile.layers(code, at._replace(inputs=start), 1, weights, biases, *head)
            self._results(code, at, results, places)
            return [code.behind(start, self.plan.shared), code.behind(places, 8)]

        code.loop(len(self.plan.variants), [own["shared"], places], variant)

    def _first(self, code: VectorCode, at: Memory, own: dict[str, Any], weights: Any, biases: Any) -> None:
        """The first layer, up to the inputs of each variant's second one."""
        network = self.plan.network
        places, block, channels = network.L * network.P, network.block, network.channels[0]
        vectors = network.vectors

        def channel(carried: list[Any]) -> list[Any]:
            sums, bias, target = carried
            for column, rows in enumerate((at.even, at.odd)):
                code.call(self.tile.back, rows, code.offset(sums, 2 * column * block), 4 * block * vectors.size)
            code.call(self.rows, at.even, at.odd, own["maxima"])
            # A constant on the lattice is all in the first number, the cosine part of frequency (0, 0).
            constant = code.multiply(code.broadcast(bias), code.constant(places))
            for number in range(len(self.plan.variants)):
                to = code.behind(target, number * self.plan.shared)
                code.call(self.tile.forth, code.offset(own["maxima"], number * places), to, step(network, channels))
                code.store(code.add(code.load(to), constant), to)
            return [code.offset(sums, 2), code.behind(bias, vectors.itemsize), code.offset(target, 2)]

        def block_of_channels(carried: list[Any]) -> list[Any]:
            weights, *rest = carried
            code.call(self.tile.products, at.inputs, step(network, 2), weights, 2, at.sums)
            _, *rest = code.loop(block, [at.sums, *rest], channel)
            return [code.behind(weights, network.weights_of(0) // (channels // block)), *rest]

        code.loop(channels // block, [weights, biases, own["shared"]], block_of_channels)

    def _results(self, code: VectorCode, at: Memory, results: list[Any], places: Any) -> None:
        place = code.load_integer(places)
        code.call(self.product, at.totals, *(code.builder.add(each, place) for each in results))
