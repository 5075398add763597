"""The table of products that an export can be for, against the functions that write for them."""

from export.integrations.configuration import REFUSALS, WRITERS
from export.integrations.table import INTEGRATIONS, default_layout, default_target
from export.options import TARGETS, ExportOptions
from runtime.spec import INPUT_LAYOUTS


def test_every_product_has_a_writer_and_inputs_that_we_export():
    assert set(WRITERS) == set(INTEGRATIONS) >= set(REFUSALS)
    for name, integration in INTEGRATIONS.items():
        assert set(integration.layouts) <= set(INPUT_LAYOUTS) and integration.target in TARGETS
        assert (default_layout(name), default_target(name)) == (integration.layouts[0], integration.target)


def test_without_a_product_the_defaults_are_those_of_an_export():
    options = ExportOptions()
    assert (default_layout(None), default_target(None)) == (options.input.layout, options.target)
