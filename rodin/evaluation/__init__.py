"""How good fits and avatars are: held-out views, reconstructions from one picture, colours of prompts."""
