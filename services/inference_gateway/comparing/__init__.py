"""Models compared on live traffic: shadows answer copies of requests, experiments share the requests out."""
