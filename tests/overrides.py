"""Generated overrides: any setting, group or unknown key with any value, most of them wrong."""

from hypothesis import strategies as st

from crackdet.config.groups import GROUPS
from crackdet.config.synonyms import SYNONYMS, all_settings


def words(text: str) -> st.SearchStrategy[str]:
    """Return a strategy for the words of a text."""
    return st.sampled_from(text.split())


ATOMS = words(
    r"""
    0 1 -1 2.5 1e-3 1e999 -inf nan inf null true false '' ??? custom adam folder none a Ä b.c ~ ~/x /tmp C:\x 0x10 1_0
    'ü' "q" a=b a:b a,b ${seed} ${nope} ${oc.env:NOPE} ${ ${a:${b}} $x @x x* ( ) [ ] { } ' " , ; # ! \ \\ = 1,2 [1, ,2
    99999999999999999999 1e400 2024-01-01 adam,sgd 1,,2 [] {} [[4,8],[8,16]]
    """
) | st.sampled_from(["", "a b", "'a b'", "\x00", "\udcff", "\n", "9" * 4400, "9" * 400, "[" * 3000, "a" * 3000])
FUNCTIONS = words("choice range interval tag sort shuffle glob int float str bool extend_list json_str rnge")
SWEEPS = words(
    """
    range(1,1e9) range(8,64,0) range(1,inf) range(nan,2) range(3,1) range(1,4) range(0.1,1.0,0.0) range(1,2,1e-300)
    shuffle(range(1,1e9)) interval(0,1) interval(1,0) interval(nan,1) interval(1,inf) tag(log,interval(0,1)) choice()
    choice(null,1.0) choice(1,choice(2,3)) glob(*) glob(x*) int(abc) 8,16 [4,8],[8] tag(log,1,2) tag(log,range(1,3))
    """
)
HYDRA_KEYS = words(
    """
    hydra hydra.mode hydra.job hydra.job.name hydra.job.chdir hydra.verbose hydra.callbacks hydra.callbacks.summary
    hydra.job_logging hydra/job_logging hydra.searchpath hydra.output_subdir hydra.foo hydra.sweeper hydra/sweeper
    hydra.launcher hydra/launcher hydra.sweeper.params hydra.sweeper.points hydra.sweeper._target_
    hydra.sweeper.n_trials hydra.sweeper.sampler hydra/sweeper/sampler hydra.sweeper.pruner hydra/sweeper/pruner
    hydra.sweeper.objectives hydra.sweeper.direction hydra.sweeper.n_jobs hydra.sweeper.max_failure_rate
    hydra.sweeper.search_space
    """
)
ODD_KEYS = words(
    "experiment data/augmentation data.augmentation model.pretrained x x.y model@x foo/bar model.conv_out.0 "
    "model.conv_out[0] trainer. .a = ü"
)
LOCATIONS = {"runtime.store", "runtime.cache", "data.root"}  # set by the tests
KEYS = (
    st.sampled_from([*sorted(all_settings() - LOCATIONS), *GROUPS])
    | st.sampled_from(sorted(SYNONYMS))
    | HYDRA_KEYS
    | ODD_KEYS
)


def _compound(values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    several = st.lists(values, max_size=3).map(",".join)
    calls = st.tuples(FUNCTIONS, several).map(lambda call: f"{call[0]}({call[1]})")
    return several | several.map("[{}]".format) | several.map("{{a:{}}}".format) | calls


VALUES = st.recursive(ATOMS, _compound, max_leaves=4) | SWEEPS
PREFIXES = st.sampled_from(["", "", "", "", "+", "++", "~"])
OVERRIDES = st.tuples(PREFIXES, KEYS, VALUES).map(lambda parts: f"{parts[0]}{parts[1]}={parts[2]}") | st.tuples(
    st.sampled_from(["~", "", "+"]), KEYS
).map("".join)
