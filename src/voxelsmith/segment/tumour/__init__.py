"""Brain tumours: from the MR sequences that there are to the nested regions WT, TC and ET."""
