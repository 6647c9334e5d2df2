"""SoundMind in small: audio logical reasoning, learned by rule-based reinforcement learning, from a laptop up to Qwen2.5-Omni-7B.

Import the modules you need: `from soundmind_lite import data, rewards`. Nothing heavy is loaded before it is used.
"""

__version__ = "0.1.0"
