"""The rim: Kafka, Faust, clocks, files, environment, commands."""
