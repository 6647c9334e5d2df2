"""The course as a site, the paper ledger, and notebooks run and saved."""
