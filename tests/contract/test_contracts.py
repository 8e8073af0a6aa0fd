"""Every provider keeps its contract through Keyside: the same interactions for aimock and for the provider itself."""

import pytest

from contract import Interaction
from stage import Mode


def the_provider_keeps_its_contract(interaction: Interaction, request, current_mode: Mode):
    provider = interaction.provider
    if reason := current_mode.missing(provider):
        if provider.id in current_mode.expected:
            pytest.fail(f"{provider.id}: {reason}, and KEYSIDE_CONTRACT_EXPECT names it", pytrace=False)
        pytest.skip(f"{provider.id}: {reason}")

    request.getfixturevalue("stage").keeps(interaction)
