"""What was asked and answered, and the steps of applications around it, as long as the project keeps them."""
