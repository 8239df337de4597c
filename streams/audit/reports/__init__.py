"""How an audit is told: JSON, JUnit, HTML, a terminal."""
