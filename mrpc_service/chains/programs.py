"""What a policy's `use` names: a native engine, a program on the policies path, or a program beside the document.

    use: load_balancing     an engine of the data plane
    use: quota              quota.py in the first directory of the path that has it
    use: ./my_limit.py      a file beside the document; the CLI sends its text along

`rate_limit` and `access_control` are both: with settings that the engine has, it is the engine, which needs no compiler and judges from the
first call on; a setting that only the program has (`per`) asks for the program. See docs/decisions/016.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from mrpc_service import documents
from mrpc_service.chains.model import Chain, PolicyUse
from mrpc_service.documents import PolicySpec, SourcedChain, did_you_mean
from mrpc_service.policy.compiler_api import Compiler, LoadedProgram, PolicyError
from mrpc_service.policy_configs import CONFIGS

PACKAGED = (Path(__file__).parents[1] / "policies", Path(__file__).parents[2] / "policies")  # installed; in a checkout
NAME = re.compile(r"[a-z][a-z0-9_]*")


class UseFault(Exception):
    """`use` or `config` of a policy is wrong."""

    def __init__(self, field: str, text: str) -> None:
        super().__init__(text)
        self.field = field


def is_path(use: str) -> bool:
    return "/" in use or use.endswith(".py")


class ProgramLibrary:
    """Finds programs by name, and checks policies against them."""

    def __init__(self, compiler: Compiler, directories: Sequence[Path]) -> None:
        """`directories` come before the packaged one."""
        self._compiler = compiler
        self._directories = [*directories, *(path for path in PACKAGED if path.is_dir())]

    def names(self) -> list[str]:
        found = {path.stem for directory in self._directories for path in directory.glob("*.py") if NAME.fullmatch(path.stem)}
        return sorted(found | CONFIGS.keys())

    async def resolve_all(self, chains: Iterable[SourcedChain], faults: list[str]) -> list[Chain]:
        """Each chain with what its policies use; what is wrong goes to `faults`, and its chain is left out."""
        resolved = []
        for sourced in chains:
            count = len(faults)
            uses = [await self._resolve(sourced, index, policy, faults) for index, policy in enumerate(sourced.chain.spec.policies)]
            if len(faults) == count:
                resolved.append(Chain(sourced.chain, sourced.source, tuple(use for use in uses if use is not None)))
        return resolved

    async def _resolve(self, sourced: SourcedChain, index: int, policy: PolicySpec, faults: list[str]) -> PolicyUse | None:
        where = f"spec.policies[{index}]"
        if policy.use in CONFIGS and not await self._wants_program(sourced, policy):
            documents.validate(CONFIGS[policy.use], policy.config, sourced.source, f"{where}.config", faults)
            return PolicyUse(None, _native_config(policy.config), policy.use)
        try:
            program = await self._load(sourced, policy.use)
            use = program.file if policy.use in CONFIGS else Path(policy.use).name  # never the engine's name
            return PolicyUse(program, program.check_config(policy.config), use)
        except UseFault as fault:
            faults.append(f"{sourced.source}, {where}.{fault.field}: {fault}")
        except PolicyError as error:
            faults += [f"{sourced.source}, {where}.use: {line}" for line in str(error).splitlines()]
        except ValueError as error:
            faults += [f"{sourced.source}, {where}.config: {line}" for line in str(error).splitlines()]
        return None

    async def _wants_program(self, sourced: SourcedChain, policy: PolicySpec) -> bool:
        """Whether a name that an engine has too is used with a setting of the program."""
        others = policy.config.keys() - CONFIGS[policy.use].model_fields.keys()
        if not others or not any((directory / f"{policy.use}.py").is_file() for directory in self._directories):
            return False
        return bool(others & (await self._load(sourced, policy.use)).config_fields.keys())

    async def _load(self, sourced: SourcedChain, use: str) -> LoadedProgram:
        if use in sourced.programs:
            return await self._compiler.load(sourced.programs[use], Path(use).name)
        path = self._find(sourced, use)
        try:
            text = path.read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise UseFault("use", f"cannot read {path}: {error}; mend the file, or its mode") from None
        return await self._compiler.load(text, path.name)

    def _find(self, sourced: SourcedChain, use: str) -> Path:
        if is_path(use):
            if sourced.directory is None:
                raise UseFault("use", f"the program {use!r} was not sent along; apply the document with 'mrpc policy apply'")
            return sourced.directory / use
        if NAME.fullmatch(use):
            for directory in self._directories:
                if (path := directory / f"{use}.py").is_file():
                    return path
        names = self.names()
        hint = "; a file is named by its path, as ./my_policy.py"
        raise UseFault("use", f"no policy {use!r}; there are {', '.join(names)}{did_you_mean(use, names) or hint}")


def _native_config(config: dict[str, Any]) -> dict[str, Any]:
    """The data plane compares values as text, so that `deny: [7]` and `deny: ["7"]` are one."""
    return {key: [str(each) for each in value] if isinstance(value, list) else value for key, value in config.items()}
