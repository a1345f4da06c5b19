"""What all offline learners share: settings, data, the loop, the run folder."""
