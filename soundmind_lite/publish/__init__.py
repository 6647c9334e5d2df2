"""The site, the paper ledger, notebooks run and saved."""
