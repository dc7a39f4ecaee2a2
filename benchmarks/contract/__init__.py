"""What both wings stand on: trials, records, and the facts about data sets, metrics and profiles. No torch in here."""
