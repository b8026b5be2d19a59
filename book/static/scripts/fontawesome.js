/* The theme would load 1.5 MB of icons as scripts here; its style sheet already brings the same icons as fonts. */
