"""Models of a neuron: one file each, named in ``NEURON_MODELS``.

``neuron_model`` chooses one of them by its name; ``neuron_types`` are its parameters.
"""

from figures_lib.neurons.neuron import NeuronModel
from figures_lib.neurons.receiving import RECEIVING
from figures_lib.neurons.saturating import SATURATING

NEURON_MODELS: dict[str, NeuronModel] = {
    "saturating": SATURATING,
    "receiving": RECEIVING,
}
