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
        target, arguments = self.model.target, self.model.arguments
        try:
            network = import_target(target)(**arguments)
        except Exception as error:  # a user's network may raise anything
            raise UserError(f"model._target_={target}: fails with arguments {arguments}: {error}") from error
        if not isinstance(network, nn.Module):
            raise UserError(f"model._target_={target}: must return a torch.nn.Module, not {type(network).__name__}")
        return network
