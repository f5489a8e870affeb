"""The layouts that these tests write down once more are those of the data plane."""

from __future__ import annotations

from mrpc_service._dataplane import message_layout

from . import images, sample


def test_layouts_agree() -> None:
    for message in (sample.Request, sample.Reply):
        assert images.message_layout(message.DESCRIPTOR) == message_layout(sample.SCHEMA, message.DESCRIPTOR.full_name)
