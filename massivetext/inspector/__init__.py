"""`massivetext inspect`: a local page where people look at their data."""
