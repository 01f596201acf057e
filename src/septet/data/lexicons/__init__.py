"""Word lists as readable files: groups of people, occupations, good and bad words, words of one gender and of the other."""
