"""What a training takes before it begins: parameters, arithmetic, memory and time."""
