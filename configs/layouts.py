"""How a benchmark may lie on the disk; `model.layouts` reads each."""

from typing import Literal

Layout = Literal["mvtec", "visa", "real-iad", "lists", "folders", "elpv", "headct", "mnist"]
