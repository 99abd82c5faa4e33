"""What the bot sends to Slack and Cellcast, and what their answers mean."""
