"""The bundle: the state of the log as a document that an OPA, or anybody, fetches by HTTP."""
