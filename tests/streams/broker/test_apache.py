"""What a machine without Java, Maven or a checkout is told."""

import pytest

from streams.broker import apache
from streams.broker.apache import ApacheKafka, ApacheKafkaError


def test_missing_java_is_told_with_what_to_do(monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ApacheKafkaError, match=r"'java' on PATH.*KAFKA_BOOTSTRAP"):
        ApacheKafka().start()


def test_missing_maven_is_told_with_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("TMINUS_CACHE", str(tmp_path))
    with pytest.raises(ApacheKafkaError, match=r"'mvn' on PATH.*Maven fetches"):
        apache.ensure_jars()


def test_a_cached_broker_needs_no_maven(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("TMINUS_CACHE", str(tmp_path))
    jars = tmp_path / f"kafka-{apache.kafka_version()}" / "lib"
    jars.mkdir(parents=True)
    assert apache.ensure_jars() == jars


def test_outside_a_checkout_it_says_so(monkeypatch, tmp_path):
    monkeypatch.setattr(apache, "_POM", tmp_path / "pom.xml")
    with pytest.raises(ApacheKafkaError, match="checkout"):
        apache.kafka_version()
