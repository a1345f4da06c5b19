"""What learning values from a log needs: windows of rows, corrected returns, penalties."""
