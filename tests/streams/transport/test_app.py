import os

import pytest

from streams.transport import driver
from streams.transport.app import batch_topic, make_app


def test_an_app_keeps_to_itself():
    """No topics created, no page on all interfaces, no captured print, no folder in the working directory."""
    conf = make_app("quiet", "127.0.0.1:1").conf
    assert not any([conf.topic_allow_declare, conf.web_enabled, conf.worker_redirect_stdouts])
    assert conf.topic_disable_leader
    assert os.getcwd() not in str(conf.datadir.absolute())


def test_buffers_count_fetches_not_events():
    """Faust's 4096 would be 4 GiB of fetches for each agent."""
    assert make_app("a", "x:1").conf.stream_buffer_maxsize <= 32


def test_overrides_win():
    assert make_app("a", "x:1", overrides={"broker_commit_interval": 7}).conf.broker_commit_interval == 7


def test_only_declared_topics_are_batch_topics():
    app = make_app("a", "x:1", batch_topics=["clicks"])
    assert batch_topic(app, "clicks").get_topic_name() == "clicks"
    with pytest.raises(ValueError, match="users is not among the batch topics"):
        batch_topic(app, "users")


def test_a_bare_faust_app_is_refused_by_name():
    with pytest.raises(Exception, match="make_app"):
        driver.settings_of(object())
