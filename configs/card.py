"""Parameters of stage `card`."""

from configs.section import Params, Section


class Card(Section):
    """What the card of the data set cannot know by itself."""

    name: str


class CardParams(Params):
    """What stage `card` reads."""

    card: Card
