"""What /openapi.json says of each route: schemas, examples, parameters, the scope that it needs.

A noun's module holds the schemas of its bodies and answers, and a `Document` for each of its routes, by the route's name.
"""

from core.http.documents.describing import components, describe

__all__ = ["components", "describe"]
