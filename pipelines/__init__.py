"""Apache Beam around massivetext: one module per stage, thin DoFns, text never shuffled."""

import logging

# Beam warns about a Google Cloud library when it is imported; who needs it, installs `[gcp]`.
logging.getLogger().addFilter(lambda record: "apitools not found" not in record.getMessage())
