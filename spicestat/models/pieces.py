"""Building blocks of models; ensemble members occupy contiguous groups of rows in the batch."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from spicestat.errors import ConfigError

__all__ = ["EnsembleEmbedding", "ResidualModule", "ScalingConstant", "keep_first_member"]


class EnsembleLinear(nn.Module):
    """Linear layer ``y = x W + b`` with weights of its own for each of M members.

    Maps (M * R, ..., n_in) to (M * R, ..., n_out), rows grouped by member.
    """

    def __init__(self, n_in: int, n_out: int, n_members: int = 1) -> None:
        super().__init__()
        bound = 1.0 / math.sqrt(max(n_in, 1))
        self.weight = nn.Parameter(torch.empty(n_members, n_in, n_out).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(n_members, 1, n_out).uniform_(-bound, bound))

    def forward(self, x: Tensor) -> Tensor:
        n_members, n_in, n_out = self.weight.shape
        grouped = x.reshape(n_members, -1, n_in)
        return torch.baddbmm(self.bias, grouped, self.weight).reshape(*x.shape[:-1], n_out)


class ResidualModule(nn.Module):
    """RNN module: the next value of a state from its value, the inputs and the embedding.

    ``x[k+1] = x[k] + g(x[k], u[k], e)``, with g a multilayer perceptron with one hidden layer;
    with an activation s, ``x[k+1] = s(g(x[k], u[k], e))``.

    Parameters
    ----------
    input_size : int
        Number of inputs plus embedding size, without the state itself.
    hidden_size : int
        Width of the hidden layer.
    dropout : float in [0, 1)
        Dropout on the hidden layer.
    n_members : int
        Ensemble members.
    """

    def __init__(self, input_size: int, hidden_size: int, dropout: float, n_members: int = 1) -> None:
        super().__init__()
        self.input_size = input_size
        self.hidden = EnsembleLinear(input_size + 1, hidden_size, n_members)
        self.dropout = nn.Dropout(dropout)
        self.out = EnsembleLinear(hidden_size, 1, n_members)

    def forward(self, value: Tensor, features: Tensor) -> Tensor:
        """Map values (R, A) and features (R, A, input_size) to the update (R, A)."""
        if features.shape[-1] != self.input_size:
            raise ConfigError(
                "a module was called with the wrong number of inputs",
                got=features.shape[-1],
                allowed=f"{self.input_size} (setup_module's input_size)",
            )
        hidden = torch.tanh(self.hidden(torch.cat([value.unsqueeze(-1), features], dim=-1)))
        update: Tensor = self.out(self.dropout(hidden)).squeeze(-1)
        return update


class EnsembleEmbedding(nn.Module):
    """Dense vector per code (participant or experiment), for each member.

    Parameters
    ----------
    num_embeddings : int
        Number of codes.
    embedding_size : int
        Length of the vector.
    dropout : float in [0, 1)
        Dropout on the vector.
    n_members : int
        Ensemble members.
    """

    def __init__(self, num_embeddings: int, embedding_size: int, dropout: float = 0.0, n_members: int = 1) -> None:
        super().__init__()
        if num_embeddings < 1:
            raise ConfigError("an embedding needs at least one code", got=num_embeddings, do="pass n_participants")
        self.weight = nn.Parameter(torch.randn(n_members, num_embeddings, embedding_size))
        self.dropout = nn.Dropout(dropout)

    def forward(self, codes: Tensor) -> Tensor:
        """Map integer codes (R,) to vectors (R, embedding_size)."""
        n_members, n_codes, size = self.weight.shape
        per_member = codes.long().reshape(n_members, -1)
        outside = (per_member < 0) | (per_member >= n_codes)
        if bool(outside.any()):
            raise ConfigError(
                "a code is outside the embedding", got=int(per_member[outside][0]), allowed=f"0 to {n_codes - 1}"
            )
        rows = torch.gather(self.weight, 1, per_member.unsqueeze(-1).expand(-1, -1, size))
        vectors: Tensor = self.dropout(rows.reshape(-1, size))
        return vectors


class ScalingConstant(nn.Module):
    """Constant (inverse temperature) per row: a parameter, or a linear map of the embedding.

    It starts near 1 and may become negative, for people who avoid what was rewarded. In equation
    mode `row_values` (R, 1) replaces it.
    """

    def __init__(self, embedding_size: int = 0, n_members: int = 1) -> None:
        super().__init__()
        self.row_values: Tensor | None = None
        self.n_rows = n_members
        self.embedding_size = embedding_size
        if embedding_size:
            self.linear = EnsembleLinear(embedding_size, 1, n_members)
            nn.init.ones_(self.linear.bias)
        else:
            self.value = nn.Parameter(torch.ones(n_members, 1, 1))

    def forward(self, embedding: Tensor | None = None) -> Tensor:
        """Map embeddings (R, E) to constants (R, 1); without an embedding, give each of the `n_rows` its member's."""
        if self.row_values is not None:
            return self.row_values
        if not self.embedding_size:
            rows_per_member = self.n_rows // self.value.shape[0]
            return self.value.expand(-1, rows_per_member, -1).reshape(-1, 1)
        if embedding is None:
            raise ConfigError("this constant was set up with an embedding", do="call it with the participant embedding")
        constant: Tensor = self.linear(embedding)
        return constant


def keep_first_member(module: nn.Module) -> None:
    """Reduce the ensemble pieces of a module to their first member, in place."""
    for piece in module.modules():
        if isinstance(piece, EnsembleLinear | EnsembleEmbedding | ScalingConstant):
            for name, weights in list(piece.named_parameters(recurse=False)):
                piece.register_parameter(name, nn.Parameter(weights.detach()[:1].clone()))
