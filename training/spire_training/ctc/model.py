"""HuBERT with a head of hidden layers and a projection to characters, under CTC's loss."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional

from spire_training.ctc.corpus import BLANK, NO_LABEL


class CTCModel(nn.Module):
    """Encoder and head.

    Args:
        encoder: transformers' HubertModel; None where features come in, from a frozen one.
        width: D, of the encoder's output.
        hidden_size: of the hidden layers.
        hidden_layers: how many.
        dropout: behind each layer.
        tokens: of the output, `BLANK` among them.
    """

    def __init__(
        self,
        encoder: Any | None,
        *,
        width: int,
        hidden_size: int,
        hidden_layers: int,
        dropout: float,
        tokens: int,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        # Frozen features are a layer's output, which has not been normalised.
        layers: list[nn.Module] = [] if encoder is not None else [nn.LayerNorm(width)]
        size = width
        for _ in range(hidden_layers):
            layers += [nn.Linear(size, hidden_size), nn.GELU(), nn.Dropout(dropout)]
            size = hidden_size
        self.head = nn.Sequential(*layers, nn.Linear(size, tokens))

    def forward(
        self, inputs: torch.Tensor, lengths: torch.Tensor, labels: torch.Tensor | None = None
    ) -> dict[str, torch.Tensor]:
        """Log probabilities, and the loss where there are labels.

        Args:
            inputs: float32, waveforms [N, S] or features [N, T, D].
            lengths: int64 [N], samples or frames of each.
            labels: int64 [N, L], `NO_LABEL` behind each one's last.

        Returns:
            logits float32 [N, T, tokens], with `BLANK` sure behind the last frame; loss, the mean
            over utterances of the loss per character.
        """
        if self.encoder is not None:
            places = torch.arange(inputs.shape[1], device=inputs.device)
            mask = (places < lengths[:, None]).long()
            hidden = self.encoder(inputs, attention_mask=mask).last_hidden_state
            lengths = self.encoder._get_feat_extract_output_lengths(lengths)
        else:
            hidden = inputs
        logits = self.head(hidden).float()
        behind = torch.arange(logits.shape[1], device=logits.device) >= lengths[:, None]
        surely = functional.one_hot(torch.tensor(BLANK), logits.shape[2]).to(logits) * 1e4
        logits = torch.where(behind[..., None], surely, logits)
        made = {"logits": logits}
        if labels is not None:
            targets = labels != NO_LABEL
            # The sum over time is in float32 whatever autocast says: CTC has no other kernel.
            made["loss"] = functional.ctc_loss(
                logits.log_softmax(-1).transpose(0, 1),
                labels.clamp(min=0),
                lengths,
                targets.sum(1),
                blank=BLANK,
                zero_infinity=True,
            )
        return made
