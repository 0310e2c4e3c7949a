"""What /openapi.json says of each route: schemas, examples, parameters, the scope that it needs.

A handler with typed dependencies has its words beside it (`common.described`). Of others a noun's module here holds the schemas
of bodies and answers, and a `Document` for each route, by the route's name. `describing` puts both together.
"""
