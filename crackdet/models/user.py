"""A feature extractor of the user's own: `_target_` in a file of `conf/model/`."""

from torch import nn

from crackdet.config.schema import UserModel
from crackdet.config.user_model import import_target
from crackdet.core.errors import UserError
from crackdet.models.architecture import PlainArchitecture


class UserArchitecture(PlainArchitecture):
    def __init__(self, model: UserModel) -> None:
        self.name = model.name
        self.model = model

    def full_model(self) -> nn.Module:
        try:
            network = import_target(self.model.target)(**self.model.arguments)
        except Exception as error:  # a user's network may raise anything
            raise UserError(f"model: {self.model.target} does not take {self.model.arguments}: {error}") from error
        if not isinstance(network, nn.Module):
            raise UserError(
                f"model._target_={self.model.target}: must give a torch.nn.Module, not {type(network).__name__}"
            )
        return network
