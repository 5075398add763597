"""The table of products that an export can be for, against the functions that write for them."""

from export.integrations.configuration import REFUSALS, WRITERS
from export.integrations.table import NEIGHBOURS, default_layout, default_target
from export.options import TARGETS, ExportOptions
from runtime.spec import LAYOUTS


def test_every_product_has_a_writer_and_inputs_that_we_export():
    assert set(WRITERS) == set(NEIGHBOURS) >= set(REFUSALS)
    for name, neighbour in NEIGHBOURS.items():
        assert set(neighbour.layouts) <= set(LAYOUTS) and neighbour.target in TARGETS
        assert (default_layout(name), default_target(name)) == (neighbour.layouts[0], neighbour.target)


def test_without_a_product_the_defaults_are_those_of_an_export():
    options = ExportOptions()
    assert (default_layout(None), default_target(None)) == (options.input.layout, options.target)
