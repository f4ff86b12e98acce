"""The shell: base page, navigation, home, the design system, accounts pages."""
