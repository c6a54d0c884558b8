"""What scores allow to say: verdicts, intervals, ranks. Plain numbers in, plain numbers out."""
