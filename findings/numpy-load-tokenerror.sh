#!/usr/bin/env bash
# np.load of a damaged file raises tokenize.TokenError, which its documentation does not name
#
# Versions: Python 3.11, numpy 2.4.6
# Behaviour: a header that cannot be parsed is passed through tokenize once more, in case Python 2 wrote it. An open
#   bracket ends that with a TokenError, which is neither a ValueError, an EOFError nor an OSError; a stray backslash
#   gives a SyntaxWarning on the way.
# Output seen:
#   TokenError True
# Cure: take any Exception of np.load for damage, but MemoryError.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder"
"$folder/bin/pip" install --quiet numpy==2.4.6
"$folder/bin/python" - <<'PY'
import io

import numpy as np

file = io.BytesIO()
np.save(file, np.zeros(3))
damaged = file.getvalue().replace(b"'shape'", b"(shape")
try:
    np.load(io.BytesIO(damaged))
except Exception as error:
    seen = type(error).__name__, not isinstance(error, (ValueError, EOFError, OSError))
print(*seen)
assert seen == ("TokenError", True)
PY
