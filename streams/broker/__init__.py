"""Brokers: the embedded one, Apache Kafka started from jars, and questions to any of them."""
