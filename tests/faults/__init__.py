"""Tests of crashes, outages and several replicas."""
