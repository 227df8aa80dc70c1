"""The faces: gateway, market, human evaluation, dashboard and the front door."""
