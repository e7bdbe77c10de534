"""Colours of the figures."""

# Okabe and Ito's colours, told apart by colour-blind readers too.
BLUE, ORANGE, GREEN, PURPLE, SKY, VERMILION, GREY = (
    "#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#767676",
)  # fmt: skip
COLOURS = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY)
# Light enough for black text.
PHASES = {"sampling": SKY, "local_energy": ORANGE, "derivatives": "#7fcfb4", "solve": PURPLE}
