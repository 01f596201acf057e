"""What `septet STEP show NAME` prints: one file for each kind of step that has more to show than its facts."""
